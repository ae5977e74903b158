"""Making the compression dictionaries that `cache_sync` packs bodies with, from made-up bodies."""
