"""Shows everything there is on real parts: starts a Triton and the gateway, sends held-out digits, checks every answer."""
