// Package market is an auction of capacity over HTTP, whose every answer survives: the service of sluice market.
//
// [State] is a state machine: a [book.Book] with users, what they were allocated and spent, and idempotency keys. [Market] keeps it on a
// [journal.Journal], so that a command is in the log, synced, before it is answered, and all nodes of one log agree. [Server] is its HTTP,
// which openapi.yaml describes, and [Admin] what operators ask.
//
// docs/market.md has the rules and guarantees.
package market
