"""An architecture, a collection and an audit check: how to extend cxr-transfer."""
