"""What readers are told: frozen models, which the API sends as JSON and the console renders."""
