package main

var comparisons = []comparison{
	{
		name: "proxy", title: "A reverse proxy beside nginx and HAProxy",
		about: "One origin, an nginx that serves a file of 1 KiB; three proxies in front of it, measured by turns. Sluice names, meters and counts every client meanwhile.",
		args:  []string{"run", "./bench/proxy", "-haproxy"}, quick: []string{"-rounds", "1", "-duration", "1s"},
	},
	{
		name: "coalesce", title: "Shared calls beside nginx and Varnish",
		about: "An origin that takes 20 ms and counts what reaches it. A URL that all keep for a second; and what sharing costs those who have nobody to share with.",
		args:  []string{"run", "./bench/coalesce", "-varnish"}, quick: []string{"-rounds", "1", "-duration", "1s", "-connections", "200", "-only", "burst,hot,lone"},
	},
	{
		name: "policies", title: "Flush policies in the running gateway",
		about: "Three kinds of traffic in front of an origin of 20 ms: calls counted there, waits by the clients.",
		args:  []string{"run", "./bench/coalesce", "-table"}, quick: []string{"-rounds", "1", "-duration", "1s"},
	},
	{
		name: "limit", title: "What a limit costs a route",
		about: "The same route with and without a rule for each client.",
		args:  []string{"run", "./bench/limit"}, quick: []string{"-rounds", "1", "-duration", "1s"},
	},
	{
		name: "limiters", title: "The library gcra beside other limiters of Go",
		about: "Nanoseconds for a decision, one key and many.", dir: "bench/limiters",
		args: []string{"test", "-run", "^$", "-bench", ".", "-cpu", "2"}, quick: []string{"-benchtime", "10ms"},
	},
	{
		name: "counter", title: "The counter beside nginx's return 200",
		about: "sluice counter counts each request in a moving window and keeps the counts in a file; nginx returns an answer of the same size.",
		args:  []string{"run", "./bench/counter"}, quick: []string{"-rounds", "1", "-duration", "1s"},
	},
	{
		name: "market", title: "The market beside nginx's return 200",
		about: "Orders that are on the disk before they are answered, beside orders that are not synced, and an nginx that does nothing.",
		args:  []string{"run", "./bench/market"}, quick: []string{"-rounds", "1", "-duration", "1s", "-bids", "1000", "-commands", "100000", "-starts", "1"},
	},
	{
		name: "jobs", title: "Jobs beside nginx's return 200",
		about: "Requests that are on the disk before they are answered with 202, beside an nginx that does nothing: while nobody does them, while workers do, and as orders of sluice store; no-op jobs of the library work; and what a million queued jobs take.",
		args:  []string{"run", "./bench/jobs"}, quick: []string{"-rounds", "1", "-duration", "1s", "-noops", "1000000", "-queued", "10000", "-cycles", "3"},
	},
	{
		name: "book", title: "The library book beside a heap, a sorted slice and a list for each price",
		about: "Bids, sales and cancels.",
		args:  []string{"test", "-run", "^$", "-bench", ".", "-cpu", "1", "-timeout", "30m", "./book"}, quick: []string{"-benchtime", "10ms"},
	},
	{
		name: "work", title: "The library work beside a channel and other pools of Go",
		about: "No-op jobs a second.", dir: "bench/pools",
		args: []string{"test", "-run", "^$", "-bench", ".", "-cpu", "2"}, quick: []string{"-benchtime", "10ms"},
	},
}
