"""A moto server whose one bucket holds many small objects before it answers.

In: the bucket's name, and keys, one a line, on standard input. Out: the server, on a free port, as
`moto_server` says it. A million objects by HTTP would take half an hour. Every object is a copy of one
that moto made itself; only names differ. Deliberately absent: anything that moto would not do with them.
"""

import copy
import sys

from moto.s3.models import s3_backends
from moto.server import main

bucket_name = sys.argv[1]
backend = s3_backends["123456789012"]["aws"]
backend.create_bucket(bucket_name, "us-east-1")
one = backend.put_object(bucket_name, "one", b"{}")
keys = backend.buckets[bucket_name].keys
keys.pop("one")
for line in sys.stdin:
    made = copy.copy(one)
    made.name = line.rstrip("\n")
    keys[made.name] = made
main(["-H", "127.0.0.1", "-p", "0"])
