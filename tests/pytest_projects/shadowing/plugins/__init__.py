raise SystemExit('the author\'s own plugins was imported')
