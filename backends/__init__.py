"""What can answer: tensors, protocols, connections and clusters; nothing here knows a route or a policy."""
