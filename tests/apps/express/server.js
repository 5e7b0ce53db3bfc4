const express = require("express");
const path = require("path");

const app = express();
app.get("/", (request, response) => response.sendFile(path.join(__dirname, "greeting.txt")));
app.listen(process.env.PORT, "127.0.0.1");
