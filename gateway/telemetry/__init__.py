"""What the process tells of itself: metrics, the access log, and the trace context it passes on."""
