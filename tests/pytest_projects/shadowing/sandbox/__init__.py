raise SystemExit('the author\'s own sandbox was imported')
