"""A local server that speaks TensorFlow Serving's protocols, and the files of a deployment on the real one.

bundle   models.config, batching.config, docker-compose.yml and example requests beside exported models
engine   SavedModels in memory: versions, signatures, checked inputs
service  calls of the engine within limits of time and number, counted
rest     TensorFlow Serving's REST predict API over a service
rpc      its gRPC services PredictionService and ModelService over a service
server   both on one event loop
"""
