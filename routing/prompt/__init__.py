"""How hard a prompt is, by a router that was trained offline: read strictly, evaluated in microseconds, judged by its gain."""
