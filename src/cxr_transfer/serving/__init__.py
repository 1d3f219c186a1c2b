"""Models answer over HTTP: the API, and the page that talks to it.

A request passes ``middleware`` (who may come in, how much at once) and ``api`` (what was asked).
``process_pool`` decodes images in processes of their own, and ``batching`` collects them for the
network. ``schemas`` is what goes back. ``server`` starts and stops all of it.
"""
