package journal

import "context"

// FirstSequence is that of the oldest record that the log still has.
func (j *Journal[R]) FirstSequence(ctx context.Context) (uint64, error) {
	s, err := j.broker.stream().Stream(ctx, j.streamName())
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.FirstSeq, nil
}
