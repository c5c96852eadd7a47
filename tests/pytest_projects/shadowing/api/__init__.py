raise SystemExit('the author\'s own api was imported')
