"""Questions in SQL: DuckDB views over the store's files.

connect      a connection with the views, closed against everything else
run_query    one question, answered
describe     the data dictionary
recipe_named the recipe that a person means by its first digits
as_text      an answer as a table to look at
"""

from pipeline.query.connection import connect, run_query
from pipeline.query.describe import describe
from pipeline.query.output import FORMATS, as_text
from pipeline.query.recipes import recipe_named

__all__ = ["FORMATS", "as_text", "connect", "describe", "recipe_named", "run_query"]
