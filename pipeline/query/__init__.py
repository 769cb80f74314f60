"""Questions in SQL: DuckDB views over the store's files.

connect      a connection with the views, closed against everything else
run_query    one question, answered
describe     the data dictionary
"""

from pipeline.query.connection import connect, run_query
from pipeline.query.describe import describe
from pipeline.query.output import FORMATS

__all__ = ["FORMATS", "connect", "describe", "run_query"]
