"""For the tests of plug-in authors: small warehouses with canary values, and contract suites for plug-ins."""
