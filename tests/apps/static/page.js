document.title = "static, with a script";
