"""What the page has of others: one module, bundled from pinned packages, with their licences and hashes."""
