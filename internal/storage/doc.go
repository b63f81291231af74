// Package storage keeps objects for users over HTTP, within quotas that hold to the byte on however many nodes: the service of sluice store.
//
// [State] is one state machine made of three: the jobs that were accepted, what users reserved and used, and the catalogue of what is stored. So
// what belongs together changes together, in one command of one log: a job is accepted and its bytes reserved, or neither; an object is in the
// catalogue and counted, or neither; what it replaced is given back, and its blob is garbage. [Storage] keeps the State on a
// [journal.Journal], and content in an [objects.Store], under random ids. [Server] is its HTTP, and [Admin] what operators ask.
//
// # No byte more, none lost
//
// Whoever uploads reserves the bytes first, under the id that the blob will have, writes the blob, and commits: the reservation becomes an entry
// of the catalogue. So at every moment each blob in the store is one of these: an entry's; one that a reservation is for; or garbage, which is on
// a list in the State until some node has deleted it and said so. A reservation belongs to the session of a node, or to a job. A node that died
// is noticed by the others, which end its session, and with it its reservations, whose blobs become garbage. A job that died releases its own.
//
// A node that was thought dead and is not may still write the blob of a reservation that was released, after it was collected. It
// deletes it when the commit is refused; should it die before that, the sweep finds the blob: a listing of the store, compared with the State
// as of a moment after it.
//
// docs/storage.md has the rules and guarantees.
package storage
