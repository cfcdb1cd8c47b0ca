"""`bloomery serve`: a trained model behind HTTP, for a person's browser and for clients of OpenAI's API.

served      the model and what it is called     wire, replies   OpenAI's shapes: asked, answered
limits      what may be asked of it             answers         one request's answers as they come
guard       who may ask: Host, Origin, the key  api             its routes; metrics, feedback: theirs
server      sockets, signals, the end           page            HTML, style and script of the page
"""
