throw new Error("this package is not installed: the locking module of the tests was not to load it; see overrides in package.json")
