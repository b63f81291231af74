// Package coalesce answers requests that arrive together with one call.
package coalesce
