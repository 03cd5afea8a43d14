"""What all tabs share: sessions of the browser, validation of requests, background work,
parts of the page.
"""
