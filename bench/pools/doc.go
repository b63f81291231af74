// Package pools compares work with other ways to run tasks with a fixed number of workers: a buffered channel, and ants. It is a module of its
// own so that the product doesn't depend on them. None of the others knows tenants.
//
//	go test -bench . -cpu 2
package pools
