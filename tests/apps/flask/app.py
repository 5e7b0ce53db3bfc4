from pathlib import Path

from flask import Flask

app = Flask(__name__)


@app.get("/")
def page():
    return Path(__file__).with_name("greeting.txt").read_text()
