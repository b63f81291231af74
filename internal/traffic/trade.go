package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// How often somebody bids, and how many bids there are for a sale. A sale is of less than what is bid for meanwhile, so that there is a queue.
const (
	bidEvery    = 700 * time.Millisecond
	bidsForSale = 5
)

// Trade has the users bid for capacity on the market at url, and sells some of it, until ctx ends. What fails is left.
func Trade(ctx context.Context, url string) {
	tick := time.NewTicker(bidEvery)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		order(ctx, url+"/buy", fmt.Sprintf(`{"username":%q,"volume":%d,"price":%d}`, users[rand.IntN(len(users))].name, 1+rand.IntN(20), 1+rand.IntN(9)))
		if i%bidsForSale == 0 {
			order(ctx, url+"/sell", fmt.Sprintf(`{"volume":%d}`, 20+rand.IntN(25)))
		}
	}
}

func order(ctx context.Context, url, body string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		resp.Body.Close()
	}
}
