// Reads package.json once and prints what bin/compile and bin/release want to know, one NAME=VALUE a line.
"use strict";
const fs = require("fs");
const path = require("path");

function refuse(text) {
  console.log(`refused=${text.replace(/\s+/g, " ")}`);
  process.exit(0);
}

// npm brings the one reader of version ranges that agrees with npm.
function satisfies(range) {
  const npm = fs.realpathSync(process.argv[3]);
  const semver = require(require.resolve("semver", { paths: [path.dirname(npm)] }));
  return semver.satisfies(process.version, range, { includePrerelease: true });
}

let text;
try {
  text = fs.readFileSync(path.join(process.argv[2], "package.json"), "utf8").replace(/^\uFEFF/, "");
} catch (error) {
  refuse(`package.json: ${error.message}`);
}
let project;
try {
  project = JSON.parse(text);
} catch (error) {
  refuse(`package.json: ${error.message}`);
}
if (typeof project !== "object" || project === null || Array.isArray(project)) refuse("package.json: not an object");

const scripts = project.scripts || {};
const range = project.engines && project.engines.node;
let fits = true;
if (typeof range === "string" && process.argv[3]) {
  try {
    fits = satisfies(range);
  } catch {
    console.log("note=engines.node could not be compared with the installed node");
  }
}
if (!fits) refuse(`package.json: engines.node asks for ${range}, this server has ${process.version}`);

const moments = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"];
console.log(`version=${process.version}`);
console.log(`modules=${process.versions.modules}-${process.arch}`);
if (scripts.start) console.log("start=1");
if (scripts.build) console.log("build=1");
// Installing then does more than filling node_modules, so a kept node_modules is not the whole result.
if (project.workspaces || moments.some((moment) => scripts[moment])) console.log("own_steps=1");
