"""One scan with its lesions and levels, in the browser of this machine: `scan` finds it, `server` shows it."""
