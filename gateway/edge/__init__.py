"""The front edges: bytes of clients in, requests for an application out."""
