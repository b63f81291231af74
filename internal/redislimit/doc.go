// Package redislimit shares limits among nodes through Redis 6 or later.
//
// A [Link] is a node's connection: it sends what concurrent requests ask as pipelines, stops asking a Redis that doesn't answer, and notices
// when it is back. On it stand
//
//   - [Strict]: every decision is made in Redis, all rules of a request in one call, by Redis's clock;
//   - [Lease]: a node takes tokens ahead of use and decides on its own while they last;
//   - [Overrides]: limits of single clients, set at run time, known to every node within a second;
//   - [Share]: this node's part of a limit, for as long as Redis is away.
//
// What is promised, and its proof, is in the package internal/lease, whose ledger the Lua scripts here are: the tests walk both through the
// same stories. Strict and leased decisions about the same rule and key share one ledger, so a rule may change its mode at any time.
//
// # Keys
//
// All keys begin with "sluice:{limits}:" (see [Config]); the hash tag puts them into one slot of a Redis Cluster, because the rules of a request
// are decided in one script. One shard of a cluster therefore does all the work. Values expire a second after a key's debt is paid
// and its leases have ended, never before. With a bound on memory the policy should be noeviction or volatile-ttl, which drops those first
// that owe least.
//
// # A Redis that forgets
//
// A Redis that restarts without its memory, or fails over to a replica that lags behind, has forgotten what was spent: each key then has
// at most one whole allowance of burst+1 too many. With appendfsync everysec it is what was spent in the last second.
//
// # Clocks
//
// Only Redis's clock decides. Nodes measure durations on their monotonic clocks, which may differ by 1.5 % in speed, and not at all in
// what they show. If Redis's clock goes back, nothing is granted for it; if it jumps ahead by an hour, so does what was earned in it.
package redislimit
