"""The page and the REST interface: `unblur.web.app.create_app` makes an ASGI application of them.

Workers import from here too, so nothing is imported that they do not need.
"""
