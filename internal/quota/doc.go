// Package quota counts what users store, in bytes a calendar month, and never lets it exceed what they may.
//
// [State] is a state machine, or a part of one, in the sense of package journal: a pure function of its commands, which carry the time. Whoever
// stores something reserves the bytes first, so that uploads that go on at once, on any number of nodes, share what is left; then commits what
// it took, or releases it:
//
//	reserve ─► commit    what was stored counts as used, the rest of the reservation is free again
//	        └► release   nothing was stored
//
// At every moment used and reserved bytes of a month are at most the quota, unless the quota was lowered below them. What is used falls when
// something is deleted that was stored in the month that is still current. A month is one of the calendar in UTC. A reservation counts in
// the month in which it was made, also if it is committed in the next.
//
// A reservation may belong to a session, a node's while it lives. When the session ends, so do its reservations: nothing leaks.
//
// # Time
//
// The clock of a State is the latest time that a command carried, so no command is in an earlier month than one before it. A node whose clock is
// ahead moves all nodes into the next month as early as that.
package quota
