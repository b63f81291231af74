package cache_test

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logging.Disable() // the client's own reports of failed connections
	goleak.VerifyTestMain(m)
}
