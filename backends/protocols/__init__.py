"""The wire forms that backends and clients speak, as pure codecs: bytes in, values out, no sockets."""
