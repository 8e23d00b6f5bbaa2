"""HTTP/1.1 to backends: a lean keep-alive pool of our own."""
