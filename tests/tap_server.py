"""A TAP service of one thread for tests: asynchronous jobs over a small gaia_source in sqlite, and faults to order."""

import gzip
import io
import re
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import numpy as np
from astropy.io import votable
from astropy.table import MaskedColumn, Table

JOB = """<?xml version="1.0" encoding="UTF-8"?>
<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1">
<uws:jobId>{job}</uws:jobId><uws:ownerId/><uws:phase>{phase}</uws:phase><uws:quote/>
<uws:startTime/><uws:endTime/><uws:executionDuration>7200</uws:executionDuration><uws:destruction/>
<uws:parameters/>{more}</uws:job>"""
RESULT = '<uws:results><uws:result id="result" xlink:href="{url}/results/result"/></uws:results>'
ERROR = (
    '<uws:errorSummary type="fatal" hasDetail="true"><uws:message>{said}</uws:message></uws:errorSummary><uws:results/>'
)

IN_RESULTS = ("truncated", "cut", "drip", "fewer", "twice", "overflow")
OF_JOBS = ("aborted", "error")


def _angle(point, circle):
    (a, d), (ra, dec, radius) = (np.radians(list(map(float, text.split()))) for text in (point, circle))
    return int(np.cos(radius) <= np.sin(d) * np.sin(dec) + np.cos(d) * np.cos(dec) * np.cos(a - ra))


class TapServer(ThreadingHTTPServer):
    """Serves ``tables`` (name to astropy Table) at ``url``.

    ``faults`` are played in order, each by the first request that can have it; ``limit`` rows are given at most, with
    the word OVERFLOW or (``silent``) without. ``queries`` are those that were run, ``requests`` counts everything.
    """

    daemon_threads = True

    def __init__(self, tables):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tables, self.faults, self.jobs, self.queries, self.requests = tables, [], {}, [], 0
        self.limit, self.silent, self.lock, self.closing = 10**9, False, threading.Lock(), threading.Event()
        self.sql = sqlite3.connect(":memory:", check_same_thread=False)
        self.sql.create_function("POWER", 2, lambda a, b: None if b is None else a**b)
        self.sql.create_function("POINT", 3, lambda frame, *at: " ".join(map(str, at)))
        self.sql.create_function("CIRCLE", 4, lambda frame, *at: " ".join(map(str, at)))
        self.sql.create_function("CONTAINS", 2, _angle)
        for name, table in tables.items():
            schema = name.split(".")[0]
            self.sql.execute(f"ATTACH ':memory:' AS {schema}")
            self.sql.execute(f"CREATE TABLE {name} ({', '.join(table.colnames)})")
            rows = zip(*(table[n].tolist() for n in table.colnames), strict=True)
            self.sql.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(table.colnames))})", rows)
        self.url = f"http://127.0.0.1:{self.server_port}/tap"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def fault(self, *kinds):
        """The next fault, taken off, if it is of these kinds."""
        with self.lock:
            return self.faults.pop(0) if self.faults and self.faults[0] in kinds else None

    def close(self):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that went away is what is tested

    def answer(self, query, maxrec):
        """The VOTable of a query as bytes, and whether it was the plain number of a count."""
        with self.lock:
            self.queries.append(query)
            cursor = self.sql.execute(query)
            names, rows = [column[0] for column in cursor.description], cursor.fetchall()
        most = min(maxrec, self.limit)
        status = "OVERFLOW" if len(rows) > most and not self.silent else "OK"
        rows = rows[:most]
        if len(rows) > 1:
            match self.fault("fewer", "twice", "overflow"):
                case "fewer":
                    rows = rows[:-1]
                case "twice":
                    rows = [*rows[:-1], rows[0]]
                case "overflow":
                    rows, status = rows[: len(rows) // 2], "OVERFLOW"
        columns = {name: column for table in self.tables.values() for name, column in table.columns.items()}
        table = Table()
        for k, name in enumerate(names):
            values = [row[k] for row in rows]
            like = columns.get(name)
            dtype = np.int64 if like is None else like.dtype
            mask = [value is None for value in values]
            column = MaskedColumn([0 if value is None else value for value in values], mask=mask, dtype=dtype)
            column.unit = None if like is None else like.unit
            table[name] = column
        file = votable.from_table(table)
        for field in file.get_first_table().fields:
            field.ID = field.name.upper()  # as the archive does
            field.name = field.name.replace("source_id", "SOURCE_ID")  # and did for a time
        file.resources[0].type = "results"
        file.resources[0].infos.append(votable.tree.Info(name="QUERY_STATUS", value=status))
        file.get_first_table().format = "binary2"
        text = io.BytesIO()
        file.to_xml(text)
        return text.getvalue(), len(rows) > 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "text/xml", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def broken(self):
        self.server.requests += 1
        length = int(self.headers.get("Content-Length", 0))
        self.form = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
        match self.server.fault("500", "503", "hang", "drop"):
            case None:
                return False
            case "hang":
                self.server.closing.wait(30)
                self.send(400)  # whoever waited so long is told off
            case "drop":
                pass
            case status:
                self.send(int(status), b"Internal error", Content_Type="text/plain")
                return True
        self.close_connection = True
        return True

    def do_POST(self):
        if self.broken():
            return
        server = self.server
        if self.path == "/tap/async":
            if self.form["REQUEST"] != "doQuery" or self.form["LANG"] != "ADQL":
                return self.send(400)
            with server.lock:
                number = str(len(server.jobs) + 1)
                server.jobs[number] = {"query": self.form["QUERY"], "maxrec": int(self.form["MAXREC"]), "polls": None}
            return self.send(303, Location=f"{server.url}/async/{number}")
        number = re.fullmatch(r"/tap/async/(\d+)/phase", self.path)[1]
        if self.form["PHASE"] == "RUN":
            server.jobs[number]["polls"] = 0
        self.send(303, Location=f"{server.url}/async/{number}")

    def do_DELETE(self):
        if not self.broken():
            self.server.jobs[self.path.rsplit("/", 1)[1]]["deleted"] = True
            self.send(303, Location=f"{self.server.url}/async")

    def do_GET(self):
        if self.broken():
            return
        server, (number, result) = (
            self.server,
            re.fullmatch(r"/tap/async/(\d+)(/results/result)?.*", self.path).groups(),
        )
        job = server.jobs[number]
        if result:
            return self.result(*server.answer(job["query"], job["maxrec"]))
        more, phase = "<uws:results/>", "PENDING"
        if job["polls"] is not None:
            if job["polls"] == 0 and (fault := server.fault(*OF_JOBS)):
                job["end"] = fault.upper()
            phase = ("QUEUED", "EXECUTING", job.get("end", "COMPLETED"))[min(job["polls"], 2)]
            job["polls"] += 1
        if phase == "COMPLETED":
            more = RESULT.format(url=f"{server.url}/async/{number}")
        if phase == "ERROR":
            more = ERROR.format(said="Cannot parse query: Unknown column 'g.x'")
        self.send(200, JOB.format(job=number, phase=phase, more=more).encode())

    def result(self, body, long):
        fault = self.server.fault("truncated", "cut", "drip") if long else None
        body = body[: len(body) // 2] if fault == "cut" else body
        self.send_response(200)
        chunked = len(self.server.queries) % 2 == 0  # servers do either
        if chunked:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = fault in ("truncated", "drip")
        step = 10 if fault == "drip" else 4096
        for k in range(0, len(body) // 2 if fault == "truncated" else len(body), step):
            piece = body[k : k + step]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if fault == "drip" and self.server.closing.wait(0.05):
                return
        if chunked and fault != "truncated":
            self.wfile.write(b"0\r\n\r\n")
