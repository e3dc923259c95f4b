"""What people call from Python: `study` asks a question, `run` answers it, `progress` shows how far it has come.

All of it is reached as ``regulab.Study``, ``regulab.run`` and so on; the answer is a `regulab.results.Results`.
"""
