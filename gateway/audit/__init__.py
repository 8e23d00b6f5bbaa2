"""What the gateway does for audits of cascades: own ways to the dearest stages, and one who judges for all processes."""
