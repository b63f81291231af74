// Package work runs tasks with a bounded queue and a number of workers, in an order that is fair to those who they are for.
package work
