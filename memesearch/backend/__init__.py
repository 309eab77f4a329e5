"""The search backend's routes: the fixed protocol, the page's JSON API, and files."""
