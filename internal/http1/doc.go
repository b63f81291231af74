// Package http1 speaks HTTP/1.1 on raw connections, exactly: what came in can be sent on byte for byte, and what
// could be read in two ways is refused.
//
// A gateway has two needs that general servers and clients do not meet. It must pass on fields as they came
// (spelling, order, repetition, bytes), where a server hands its handler a normalised map. And it must never disagree
// with its upstream about where a message ends, where servers are liberal in what they accept: that disagreement is
// request smuggling. So heads are parsed here in place, into slices of the connection's buffer, by the strict side of
// RFC 9112, and the same parser and the same body framing serve both directions: requests from clients ([Server],
// [Exchange]) and responses from upstreams ([ReadResponse]).
//
// What is refused, with 400 and a closed connection: Content-Length together with Transfer-Encoding; a repeated or
// malformed Content-Length; Transfer-Encoding in HTTP/1.0, repeated, or other than "chunked"; malformed chunk sizes;
// white space around a field name; folded lines; bare LF or CR; control characters; no Host in HTTP/1.1, or two; a
// version other than 1.0 and 1.1.
//
// Nothing here allocates per request once a connection is warm, and a body is never held whole: [Body.Next] hands
// out pieces of the connection's buffer as they arrive.
package http1
