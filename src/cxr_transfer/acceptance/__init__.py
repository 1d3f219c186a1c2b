"""Is a model good enough at one place, and does it stay so: plan, test, watch."""
