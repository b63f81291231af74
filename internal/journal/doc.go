// Package journal keeps a state machine's commands in a replicated log, so that what was answered survives.
//
// A [Machine] is the state of a service and a pure function from commands to replies. [Journal.Do] appends a command to
// the log, waits until the log has it for good, applies it and returns the machine's reply. Every node applies the same
// commands in the log's order, so any node may take commands and all agree; recovery is a replay.
//
//	broker, err := journal.Embed(journal.EmbedConfig{Dir: dir, Log: log})   // or journal.Dial(…) to a NATS cluster
//	j, err := journal.Open(ctx, broker, journal.Config{Name: "market", Dir: dir}, machine)
//	reply, err := j.Do(ctx, command)
//	err = j.Read(func() { depth = machine.Depth() })
//
// # One journal, one stream, one machine
//
// A service with several kinds of state that must change together (a quota and the job that uses it) makes one machine
// of them, with a tag byte in front of each command: then one command changes both or neither, one hash covers both and
// one snapshot holds both. Kinds of state that have nothing to do with each other get a journal each, which fail, replay
// and are purged alone, on one broker. Several machines on one stream by subject would order what needs no order and
// still not change together.
//
// # What an answer means
//
// The reply of Do means: the command is in the log and was applied on this node, once. It is in the log when JetStream
// said so: embedded, after fsync; in a cluster, after a majority has it, and on its disks if the servers have
// sync_interval: always. A Read that starts after the reply sees it on this node; other nodes see it a moment later.
//
// An error means one of these:
//
//   - [ErrUnavailable] without [ErrUnknown], or the error of the context without it: the command was not appended and
//     never will be.
//   - [ErrUnknown] (it wraps [ErrUnavailable] or the context's error): it may or may not have been, or may still be,
//     applied, once at most. Whoever needs to know repeats it under a key that the machine remembers.
//   - [ErrStopped]: this node found damage or disagreement, or is closed. Nothing is answered from then on.
//
// # Group commit
//
// One append is under way at a time; commands that arrive meanwhile go into the next, as one message. So one fsync pays
// for many commands, the order of one node's commands is that of its appends, and a lost reply concerns one record.
//
// A record is identified by its author (node, epoch, number). The epoch rises with every Open and the number with every
// record. Records are applied only if (epoch, number) is above the author's last one that was applied. So the same bytes
// can be sent again until somebody says that they are stored: the first copy counts, the others do nothing. And a record
// that was given up is dead as soon as a later one of its author is applied. The broker's own window of duplicates isn't
// used.
//
// # What is checked
//
// A record carries a CRC-32C over everything, its author, and the sequence and state hash that its author had applied.
// The state hash covers the machine's hash and a chain over all records. Each node checks each record: its sequence
// follows the last, its sum is right, and the hash is the one that this node had at that sequence (for the last 4096
// records). If not, the node stops with an error that names the sequence. With two nodes that disagree both may stop:
// neither can know that it is the one that is right.
//
// # Files
//
// In data_dir/journal-NAME:
//
//   - snapshot-SEQ: the state after that sequence, with a CRC-32C; the last two. Written to another name, synced,
//     renamed.
//   - mark: the last sequence that was applied and the state hash there, written before anybody is answered, in two
//     slots by turns. At the start, a log that ends before the mark has lost what was answered, and a log with another
//     hash at the mark is another log: both are refused.
//
// And, embedded, in data_dir/jetstream the log itself. JetStream cuts a damaged tail off without a word; the mark is
// there to see it.
//
// The mark isn't synced for every append. It survives the end of the process, however that comes, so from then on any
// loss is noticed. It is synced once a second, at snapshots and at Close: what was answered in the last second before a
// loss of power, and was lost although it was synced, isn't noticed.
//
// # The size of the log
//
// A snapshot is taken every [Config].SnapshotEvery commands and every SnapshotBytes bytes of log, whichever comes first.
// While the machine writes it, into the page cache, commands wait and reads go on. Then the log is purged up to the
// older of the two snapshots that are kept. So it holds the commands of about two intervals, and a start can do without
// the newer snapshot. While no snapshot can be written, the log grows.
//
// In a cluster the author of the record that was due for a snapshot shares its own in a JetStream object store, and then
// purges up to the older of the two that are shared. A node that is new, or was away while the log was purged, starts
// from the newest shared one. Give all nodes the same intervals.
//
// # Large values
//
// A command is small. What is large goes into [Blobs] first, a stream of its own on the same broker, and the command names it. If the process dies
// in between, the blob is one that no state knows: whoever keeps the state removes those that are old ([Blobs.List]).
//
// # Faults
//
// While the broker can't be reached or the disk is full, Do returns ErrUnavailable, with or without ErrUnknown, within
// three times Config.AppendTimeout: one to find room in the queue, one behind the append that is under way, one of its
// own. It works again when the fault is over, without a restart: an embedded server that gave up its storage is started
// anew inside the process. Starting it, it reads and checks the whole log. Close refuses nothing that was queued before
// it.
//
// An embedded server that reports an input/output error stops the journal: after a failed fsync the system may show
// readers what the disk doesn't have. A server of a cluster that is behind the others may seem to have lost records;
// that counts as damage when it lasts for twice AppendTimeout.
//
// What isn't covered: a disk that acknowledges fsync and forgets (but see the mark), an operator who edits the stream,
// and nodes whose clocks matter: none do.
package journal
