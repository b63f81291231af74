package counter

import "github.com/sluicegate/sluice/window"

// What tests reach beyond the package's API.

// OnSave replaces what writes the file, before Serve.
func (c *Counter) OnSave(write func(window.Snapshot) error) {
	c.keeper.write = func(_ string, s window.Snapshot) error { return write(s) }
}
