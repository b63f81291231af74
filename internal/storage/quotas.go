package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sluicegate/sluice/internal/journal"
	"github.com/sluicegate/sluice/internal/quota"
)

// A QuotaChange is what PUT /api/v1/quotas asks for. What it doesn't name stays.
type QuotaChange struct {
	UserID  string  `json:"userId,omitempty"`
	Default bool    `json:"default,omitempty"` // instead of UserID: for everybody without limits of their own
	Quota   *uint64 `json:"quota,omitempty"`   // bytes a calendar month
	Rate    *uint32 `json:"requests_per_minute,omitempty"`
}

// A QuotaPage is what GET /api/v1/quotas answers.
type QuotaPage struct {
	Default DefaultQuota `json:"default"`
	Quotas  []QuotaView  `json:"quotas"`
	Next    string       `json:"next,omitempty"` // the cursor of the next page
}

// A DefaultQuota is what everybody may without limits of their own.
type DefaultQuota struct {
	Quota uint64 `json:"quota"`
	Rate  uint32 `json:"requests_per_minute"`
}

// storage returns the storage, or answers that it isn't there yet.
func (a *Admin) storage(w http.ResponseWriter) *Storage {
	if v := a.server.Load(); v != nil {
		return v.storage
	}
	writeError(w, http.StatusServiceUnavailable, errStarting.Error())
	return nil
}

// listQuotas answers with those who have limits of their own, or used or reserved something this month; or with ?userId= with that user.
func (a *Admin) listQuotas(w http.ResponseWriter, r *http.Request) {
	s := a.storage(w)
	if s == nil {
		return
	}
	q := query{r.URL.Query()}
	page := QuotaPage{Quotas: []QuotaView{}}
	var wrong *fieldError
	var err error
	if q.Has("userId") {
		wrong, err = page.one(s, q)
	} else {
		wrong, err = page.list(s, q)
	}
	switch {
	case wrong != nil:
		writeError(w, http.StatusBadRequest, wrong.Error())
	case err != nil:
		writeError(w, http.StatusServiceUnavailable, err.Error())
	default:
		writeJSON(w, http.StatusOK, page)
	}
}

func (p *QuotaPage) defaults(st *State) {
	all := st.quota.Usage("")
	p.Default = DefaultQuota{all.Bytes, all.Rate}
}

func (p *QuotaPage) one(s *Storage, q query) (*fieldError, error) {
	user, wrong := q.user()
	if wrong != nil {
		return wrong, nil
	}
	return nil, s.Read(func(st *State) {
		p.defaults(st)
		u := st.quota.Usage(user)
		p.Quotas = append(p.Quotas, quotaView(user, &u))
	})
}

func (p *QuotaPage) list(s *Storage, q query) (*fieldError, error) {
	after, limit, wrong := q.page()
	if wrong != nil {
		return wrong, nil
	}
	if after != "" {
		after += "\x00" // the first name that is above it
	}
	err := s.Read(func(st *State) {
		p.defaults(st)
		for user, u := range st.quota.Users(after) {
			if len(p.Quotas) == limit {
				p.Next = cursorOf(p.Quotas[limit-1].UserID)
				return
			}
			p.Quotas = append(p.Quotas, quotaView(user, &u))
		}
	})
	return nil, err
}

// maxChange bounds the body of a change.
const maxChange = 4 << 10

func (a *Admin) setQuota(w http.ResponseWriter, r *http.Request) {
	var c QuotaChange
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxChange))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		writeError(w, http.StatusBadRequest, fmt.Sprintf("the body is not the JSON object that is expected: %v", err))
		return
	}
	if wrong := c.check(); wrong != nil {
		writeError(w, http.StatusBadRequest, wrong.Error())
		return
	}
	a.change(w, r, c.UserID, quota.Change{Bytes: c.Quota, Rate: c.Rate})
}

func (c *QuotaChange) check() *fieldError {
	switch {
	case c.Default && c.UserID != "":
		return bad("default", "goes without userId")
	case !c.Default && quota.CheckUser(c.UserID) != nil:
		return bad("userId", "%v", quota.CheckUser(c.UserID))
	case c.Quota == nil && c.Rate == nil:
		return bad("quota", "is missing, and requests_per_minute as well: expected one of them")
	case c.Quota != nil && *c.Quota > quota.MaxBytes:
		return bad("quota", "must be at most %d", uint64(quota.MaxBytes))
	case c.Rate != nil && (*c.Rate < 1 || *c.Rate > quota.MaxRate):
		return bad("requests_per_minute", "must be 1 to %d", quota.MaxRate)
	}
	return nil
}

// unsetQuota takes a user, ?userId=, back to what everybody may; or everybody, ?default, to what that is at first.
func (a *Admin) unsetQuota(w http.ResponseWriter, r *http.Request) {
	q := query{r.URL.Query()}
	user := ""
	if !q.Has("default") || q.Has("userId") {
		var wrong *fieldError
		if user, wrong = q.user(); wrong != nil {
			writeError(w, http.StatusBadRequest, wrong.Error())
			return
		}
	}
	a.change(w, r, user, quota.Change{Reset: true})
}

func (a *Admin) change(w http.ResponseWriter, r *http.Request, user string, c quota.Change) {
	s := a.storage(w)
	if s == nil {
		return
	}
	u, err := s.SetLimits(r.Context(), user, c)
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		writeError(w, http.StatusInsufficientStorage, "no more users fit")
	case errors.Is(err, journal.ErrUnknown):
		writeError(w, http.StatusServiceUnavailable, "it is not known whether the limits are set: ask for them, or set them again")
	case err != nil:
		writeError(w, http.StatusServiceUnavailable, "the log cannot be written to now; nothing was set")
	default:
		a.log.Info("limits of a user set", "user", user, "quota", u.Bytes, "requests_per_minute", u.Rate, "reset", c.Reset)
		writeJSON(w, http.StatusOK, quotaView(user, &u))
	}
}

// QuotaQuery is the query that asks for a user.
func QuotaQuery(user string) url.Values { return url.Values{"userId": {user}} }
