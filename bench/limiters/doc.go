// Package limiters compares gcra with other rate limiters of the Go world, on the same keys and in the same run. It is a module of its own
// so that the product doesn't depend on them.
//
//	go test -bench . -cpu 1,2
package limiters
