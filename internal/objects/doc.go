// Package objects keeps blobs of any size under keys: in a directory ([Dir]), or at a service that speaks S3 ([S3]).
//
//	store, err := objects.OpenDir("/var/lib/sluice/objects")     // or objects.DialS3(config), with objects.ParseS3
//	info, err := store.Put(ctx, key, body, length, length)       // what is there now is whole, synced and has info.SHA256
//	content, err := store.Open(ctx, key, 0, -1)
//
// # Keys
//
// A key is 26 to 64 characters of 0-9 and a-z: a random id, drawn by whoever keeps the record of the object. What clients call their objects
// never comes here. All the same a store checks each key against that list and refuses the rest with [ErrKey], and [Dir] reaches files through
// an [os.Root] only, which no symbolic link leads out of.
//
// # What Put promises
//
// Under its key an object is there as a whole or not at all, to everybody, at any moment, also after a crash or a loss of power. When Put has
// returned no error, it is there for good. When Put has returned an error, what it was given is not there, and no part of it takes up room
// but for what [Store.Sweep] finds after a crash. With S3 there is one exception that nobody can do away with: a service that took everything,
// did not say so and can't be reached either is asked in vain to remove it.
//
// # Memory
//
// Content streams through 128 KiB in a directory, and 64 KiB to S3. But S3 must be told a length before it takes content: of what comes without
// one, or is longer than 5 GiB, 8 MiB are held, 16 times at once; more wait their turn.
package objects
