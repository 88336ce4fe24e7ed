"""A process with torch and the experiments imported that forks for every command, so that a small run does not wait for imports.

With the environment variable `EFFBENCH_WORKER`, which names a folder, `effbench COMMAND ...` becomes a client (`client`): it
passes its arguments, directory, environment and open standard streams through a Unix socket in that folder to a server
(`server`), whose child carries the command out as a process of its own would, and exits with the child's status. The first
client starts the server. `EFFICIENCY_OWNER` is the process id of whoever needs the results: the server and its children end
with it.

Results are those of a fresh process, bit for bit. The server imports and does nothing else, so that no thread pool
exists when it forks. There is one server for every setting of the variables that libraries read while they are imported, such
as OMP_NUM_THREADS. A server whose source files have changed ends, and the client starts another.
"""
