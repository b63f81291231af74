// Package cache decides which answers of an upstream may be shared, kept and used again, and keeps them: RFC 9111 (caching),
// RFC 9110 (conditions and ranges), RFC 5861 (stale responses) and RFC 9211 (Cache-Status), of which it takes the
// restrictive side. It asks no upstream itself. A request goes through it like this:
//
//	cache.Plan(&plan, request, trusted, now)    // what the request allows; its key
//	if plan.Pass != cache.NoReason              // straight to the upstream
//	entry, state := cache.Lookup(&plan, now)
//	if state.Usable()                           // answer: entry.Reply, entry.Begin, entry.End
//	...                                         // plan.OnlyIfCached: 504
//	...                                         // plan.Park: wait in the slot plan.SlotKey()
//	verdict := cache.Judge(request, response, &plan, times)
//	cache.Learn(&plan, &verdict, now)
//	...                                         // verdict.Share: to those for whom verdict.Matches
//	cache.Put(&verdict, verdict.Entry(body))
//
// and a write (POST, PUT, DELETE, ...) that succeeded through [WriteOf] and [Cache.Invalidate].
//
// # Whose answer it may be
//
// The key of a request is what it asks for (scheme, host, path and query), the values of the fields in [Route.ShareBy],
// those of the fields that its resource's answers vary by, and those of the fields that make frameworks believe in
// another host, path or method (X-Original-URL and the like), which would otherwise let one client choose what others
// get. A request that says who asks (Authorization, Cookie, X-Api-Key, [Route.Credentials]) waits for nobody, gets
// only stored answers that are marked as everybody's, and its own answer is kept only if it is marked so.
//
// # Where it is stricter than the RFCs
//
//   - Cookie and API keys count like Authorization; answers with Set-Cookie go to one client only.
//   - private="field" is private; a response with no-cache is not shared among requests that wait.
//   - A directive that forbids counts even within a quoted string; a number that is none is 0; of two the smaller counts.
//   - Vary on a field that the gateway itself writes for each client (X-Forwarded-For) is Vary: *. A response with
//     Content-Encoding varies by Accept-Encoding, and one with a certain Access-Control-Allow-Origin by Origin.
//   - Errors (5xx) are never stored.
//
// Where a route's MinTTL is set it is less strict, on purpose. stale-while-revalidate and stale-if-error hold beside
// s-maxage too, which RFC 9111 section 5.2.2.10 would forbid, because whoever writes them there means them so.
package cache
