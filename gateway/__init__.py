"""The process: edges, authentication, configuration, compilation, reload, telemetry and the command line."""

__version__ = "0.1.0"
